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
;; @0022                               brif v7, block2(v7), block4
;;
;;                                 block4:
;; @0024                               jump block3
;;
;;                                 block3:
;; @0027                               return v7
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;; block0:
;;   movq 8(%rdi), %rdi
;;   movq %rsi, %rax
;;   jmp     label1
;; block1:
;;   movl -0x10000(%rdi), %r8d
;;   sequence_point
;;   subl $0x1, %eax
;;   testl %eax, %eax
;;   jnz     label2; j label3
;; block2:
;;   jmp     label1
;; block3:
;;   jmp     label4
;; block4:
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
