(module
  (func (param i32) (result i32)
    (loop $again
      (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get 0)))

;; Expected:
;; function 0
;; function u0:0(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32):
;;                                     v3 = load.i64 notrap aligned readonly can_move v0+8
;; @0019                               jump block2(v1)
;;
;;                                 block2(v5: i32):
;; @0019                               v4 = load.i32 user15 aligned v3-0x0001_0000
;; @0019                               sequence_point
;; @001d                               v6 = iconst.i32 1
;; @001f                               v7 = isub v5, v6  ; v6 = 1
;; @0022                               brif v7, block4, block5
;;
;;                                 block5:
;; @0022                               jump block3(v7)
;;
;;                                 block4:
;; @001d                               v8 = iconst.i32 1
;; @001f                               v9 = isub.i32 v7, v8  ; v8 = 1
;; @0022                               brif v9, block6, block7
;;
;;                                 block7:
;; @0022                               jump block3(v9)
;;
;;                                 block6:
;; @001d                               v10 = iconst.i32 1
;; @001f                               v11 = isub.i32 v9, v10  ; v10 = 1
;; @0022                               brif v11, block8, block9
;;
;;                                 block9:
;; @0022                               jump block3(v11)
;;
;;                                 block8:
;; @001d                               v12 = iconst.i32 1
;; @001f                               v13 = isub.i32 v11, v12  ; v12 = 1
;; @0022                               brif v13, block2(v13), block10
;;
;;                                 block10:
;; @0024                               jump block3(v13)
;;
;;                                 block3(v14: i32):
;; @0027                               return v14
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;; block0:
;;   movq 8(%rdi), %rcx
;;   jmp     label1
;; block1:
;;   movl -0x10000(%rcx), %eax
;;   sequence_point
;;   movq %rsi, %rax
;;   subl $0x1, %eax
;;   testl %eax, %eax
;;   jnz     label3; j label2
;; block2:
;;   jmp     label10
;; block3:
;;   movq %rsi, %rax
;;   subl $0x2, %eax
;;   testl %eax, %eax
;;   jnz     label5; j label4
;; block4:
;;   subl $0x2, %esi
;;   movq %rsi, %rax
;;   jmp     label10
;; block5:
;;   movq %rsi, %rax
;;   subl $0x3, %eax
;;   testl %eax, %eax
;;   jnz     label7; j label6
;; block6:
;;   subl $0x3, %esi
;;   movq %rsi, %rax
;;   jmp     label10
;; block7:
;;   subl $0x4, %esi
;;   testl %esi, %esi
;;   jnz     label8; j label9
;; block8:
;;   jmp     label1
;; block9:
;;   movq %rsi, %rax
;;   jmp     label10
;; block10:
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
