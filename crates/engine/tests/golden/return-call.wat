(module
  (func $f (param i32) (result i32)
    (if (result i32) (local.get 0)
      (then (return_call $f (i32.sub (local.get 0) (i32.const 1))))
      (else (i32.const 0)))))

;; Expected:
;; function 0
;; function u0:0(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx, i32) -> i32 tail
;;     fn0 = colocated u0:0 sig0
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32):
;;                                     v6 = load.i64 notrap aligned readonly can_move v0+8
;; @001b                               brif v1, block2, block3
;;
;;                                 block2:
;; @001f                               v4 = iconst.i32 1
;; @0021                               v5 = isub.i32 v1, v4  ; v4 = 1
;; @0022                               v7 = load.i32 user15 aligned v6-0x0001_0000
;; @0022                               sequence_point
;; @0022                               return_call fn0(v0, v5)
;;
;;                                 block3:
;; @0025                               v8 = iconst.i32 0
;; @0027                               jump block4(v8)  ; v8 = 0
;;
;;                                 block4(v3: i32):
;; @0028                               return v3
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;;   movq 8(%rdi), %r10
;;   movq (%r10), %r10
;;   addq $0x10, %r10
;;   cmpq %rsp, %r10
;;   jnbe #trap=stk_ovf
;; block0:
;;   testl %esi, %esi
;;   jnz     label3; j label1
;; block1:
;;   jmp     label2
;; block2:
;;   uninit  %rax
;;   xorl %eax, %eax
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
;; block3:
;;   movq 8(%rdi), %rax
;;   movl -0x10000(%rax), %eax
;;   sequence_point
;;   subl $0x1, %esi
;;   return_call_known User(userextname0) (0) tmp=%r11 %rdi=%rdi %rsi=%rsi
